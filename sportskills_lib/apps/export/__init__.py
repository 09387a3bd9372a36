"""A run's clips as files that others' loaders read: WebDataset shards, or a folder for Hugging Face
`datasets`.
"""
