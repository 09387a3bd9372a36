"""Mistake-conditioned retrieval: which clip helps this learner?"""
