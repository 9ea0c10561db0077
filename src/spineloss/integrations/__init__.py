"""The losses inside other people's trainers; every module here imports without the trainer it is for."""
