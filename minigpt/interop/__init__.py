"""Models from elsewhere and for elsewhere: the files of other libraries, read as runs and written from runs.

`huggingface.py` reads and writes the folders of Hugging Face's transformers; `architectures.py` says how its models
correspond to ours.
"""
