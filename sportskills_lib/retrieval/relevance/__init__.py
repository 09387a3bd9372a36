"""The relevance model: a vision-language model that scores whether a clip helps a learner."""
