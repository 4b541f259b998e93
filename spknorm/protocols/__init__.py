"""Who trains, who validates, who tests: utterances in, the three parts of a fold out.

After the corpora in the flow.
"""

from spknorm.protocols.cross import cross_split as cross_split
from spknorm.protocols.cross import in_common as in_common
from spknorm.protocols.cross import renamed as renamed
from spknorm.protocols.folds import NUM_DRAWS as NUM_DRAWS
from spknorm.protocols.folds import PROTOCOLS as PROTOCOLS
from spknorm.protocols.folds import SAMPLES_PER_LABEL as SAMPLES_PER_LABEL
from spknorm.protocols.folds import divide as divide
from spknorm.protocols.folds import folds_of as folds_of
from spknorm.protocols.folds import make_split as make_split
from spknorm.protocols.overlap import Split as Split
from spknorm.protocols.overlap import check_split as check_split
from spknorm.protocols.owners import TITLES as TITLES
from spknorm.protocols.owners import Splitting as Splitting
from spknorm.protocols.parts import speakers_of as speakers_of
