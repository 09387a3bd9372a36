"""One client for chat models behind OpenAI-compatible servers, the memory of their answers, and
what they are asked.
"""
