"""Many prompts from a file, asked without users and conversations; `manage.py runbatch`. No rows are read or written."""
