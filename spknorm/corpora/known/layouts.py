"""The corpora with coded file names, one row each; coded.py reads them.

Codes, counts and defects are what the corpora's own pages and published file lists tell.
"""

from collections.abc import Mapping
from types import MappingProxyType

from spknorm.corpora.known.layout import Layout
from spknorm.corpora.known.layouts_english import ENGLISH
from spknorm.corpora.known.layouts_others import OTHERS

LAYOUTS: Mapping[str, Layout] = MappingProxyType({**ENGLISH, **OTHERS})
