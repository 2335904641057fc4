"""What `manage.py chatdoctor` does: examines the app from outside, through whatever stands before it.

probe.py asks over HTTP and watches the clock, findings.py says in plain words what an answer means, examination.py decides
what to try.
"""
