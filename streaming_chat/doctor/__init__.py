"""`manage.py chatdoctor`: checks the app from outside, through its proxies.

checkup.py has the checks, probe.py sends requests and measures times, findings.py says what the results mean.
"""
