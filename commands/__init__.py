"""What operators run beside the function app: `python -m commands --help`.

A command is a module of this folder with HELP, add_arguments and run; __main__.py lists them.
"""
