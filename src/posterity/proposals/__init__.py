"""What a folder of images and a table seem to be: settings to propose to their owner, with reasons."""
