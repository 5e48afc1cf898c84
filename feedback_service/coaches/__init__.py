"""What a coach is told and how its answer is read, one small object per kind of feedback."""
