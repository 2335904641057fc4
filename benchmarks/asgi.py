"""The benchmark's ASGI application.

BENCH_GC: thresholds of the garbage collector, as "20000,50,100". BENCH_THREADS: that requests share. BENCH_TRACE: set to
measure its parts, see trace.py.
"""

import gc
import os

from streaming_chat.asgi import get_asgi_application

if thresholds := os.environ.get("BENCH_GC"):
    gc.set_threshold(*map(int, thresholds.split(",")))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
threads = os.environ.get("BENCH_THREADS")
application = get_asgi_application(int(threads)) if threads else get_asgi_application()
if os.environ.get("BENCH_TRACE"):
    from .trace import traced

    application = traced(application)
