"""Real pages that are off the subject: the standard library's documentation, as pydoc renders it in this process.

Rendering imports a module, so only a fixed list is taken, of modules that do nothing when they are imported. `os` is not in
it: its page shows this machine's environment.
"""

from __future__ import annotations

import importlib
import pydoc
import re
import warnings
from collections.abc import Iterator

from ropewalk.atlas.pages import Page

MODULES = (
    "abc argparse array ast asyncio.base_events asyncio.events asyncio.locks asyncio.queues asyncio.streams "
    "asyncio.tasks base64 bdb "
    "binascii bisect bz2 calendar cmath cmd code codecs codeop collections collections.abc colorsys compileall "
    "concurrent.futures.process concurrent.futures.thread configparser contextlib contextvars copy copyreg csv "
    "ctypes dataclasses "
    "datetime decimal difflib dis doctest email.charset email.generator email.header email.message "
    "email.parser email.policy "
    "email.utils enum errno fileinput fnmatch fractions ftplib functools gc getopt getpass gettext glob "
    "graphlib gzip hashlib heapq "
    "hmac html html.parser http.client http.cookiejar http.cookies http.server imaplib importlib.abc importlib.machinery "
    "importlib.resources importlib.util inspect io ipaddress itertools json json.decoder json.encoder keyword "
    "linecache locale "
    "logging logging.config logging.handlers lzma mailbox marshal math mimetypes mmap modulefinder "
    "multiprocessing.connection "
    "multiprocessing.managers multiprocessing.pool multiprocessing.queues multiprocessing.shared_memory netrc "
    "numbers opcode operator "
    "optparse os.path pathlib pdb pickle pickletools pkgutil platform plistlib poplib pprint profile pstats "
    "py_compile queue "
    "quopri random re reprlib rlcompleter runpy sched secrets select selectors shelve shlex shutil signal site "
    "smtplib socket "
    "socketserver sqlite3 ssl stat statistics string stringprep struct subprocess symtable sysconfig tabnanny "
    "tarfile tempfile "
    "textwrap threading time timeit token tokenize trace traceback tracemalloc types typing unicodedata "
    "unittest.case unittest.mock "
    "unittest.suite urllib.parse urllib.request urllib.response urllib.robotparser uuid venv warnings wave "
    "weakref webbrowser "
    "xml.dom.minidom xml.etree.ElementTree xml.sax.handler xmlrpc.client zipapp zipfile zipimport zlib zoneinfo"
).split()
_ADDRESS = re.compile(r"(?: |&nbsp;)(?:at(?: |&nbsp;)0x|handle(?: |&nbsp;))[0-9a-f]+")
_FILE_LINK = re.compile(r'<a href="file:[^"]*">[^<]*</a>')


def python_pages(count: int) -> Iterator[Page]:
    """The first `count` of MODULES as pages. What names this machine (addresses in memory, paths) is taken out."""
    for name in MODULES[:count]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            module = importlib.import_module(name)
            body = pydoc.HTMLDoc().docmodule(module, name)
        markup = _ADDRESS.sub("", _FILE_LINK.sub("", body))
        head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Python: {name}</title></head>'
        markup = f"{head}<body>{markup}</body></html>"
        yield Page(f"/python/{name}.html", "pydoc", f"Python: {name}", keep=False, markup=markup)
