"""What single lessons need and nothing else does: their exhibits and their pictures.

A lesson's idea stands in its notebook; here is what would make a cell too long to read.
"""
