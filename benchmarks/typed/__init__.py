"""Parts of benchmarks/messages.py: the page as commands and answers, and the inputs they name."""
