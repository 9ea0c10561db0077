collect_ignore = ["short_trainer"]  # nnU-Net imports it, where nnU-Net is installed
