"""Attempts to get out of the sandbox that do no harm where there is none, so that they can be seen to succeed there.

Each is Python code that prints "escaped" if it has reached what is planted outside. Names such as `FILE` are defined
above it (`world.py`).
"""

import platform

HARMLESS = {
    # Reading
    "read a file": "print(open(FILE).read())",
    "read it through a link": "import os; os.symlink(FILE, LINK); print(open(LINK).read())",
    "read it by way of the parent folders": "print(open('../' * 20 + FILE[1:]).read())",
    "list its folder": "import os; 'planted' in os.listdir(FOLDER) and print('escaped')",
    "walk down from the root": "import os; 'etc' in os.listdir('/') and os.path.exists('/etc/passwd') and print('escaped')",
    "read the list of users": "'root:' in open('/etc/passwd').read() and print('escaped')",
    "look into the home": "import os; 'planted' in os.listdir(os.path.expanduser('~')) and print('escaped')",
    "read an environment variable": "import os; print(os.environ['PLANTED'])",
    "read the environment from procfs": "print(open('/proc/self/environ').read())",
    "read an inherited file": (
        "import os\nfor number in range(3, 256):\n    try: print(os.pread(number, 100, 0))\n    except OSError: pass"
    ),
    "read another process' command line": "'planted' in open(f'/proc/{VICTIM}/cmdline').read() and print('escaped')",
    "read through another process' folder": "print(open(f'/proc/{VICTIM}/cwd/planted').read())",
    "read through another process' root": "print(open(f'/proc/{VICTIM}/root{FILE}').read())",
    "read through another process' open files": "print(open(f'/proc/{VICTIM}/fd/0').read())",
    "see what is mounted": "'/' in open('/proc/self/mountinfo').read() and print('escaped')",
    "learn the machine's name": "import os; os.uname().nodename == HOST and print('escaped')",
    "learn the boot's number": "len(open('/proc/sys/kernel/random/boot_id').read()) > 30 and print('escaped')",
    "import ropewalk": "import ropewalk; print('escaped')",
    "import an installed package": "import numpy; print('escaped')",
    # Writing
    "write a file": "open(FOLDER + '/new', 'w').write('x'); print('escaped')",
    "write through a link": "import os; os.symlink(FOLDER, LINK); open(LINK + '/new', 'w').write('x'); print('escaped')",
    "delete a file": "import os; os.remove(FILE); print('escaped')",
    "rename a file": "import os; os.rename(FILE, FOLDER + '/moved'); print('escaped')",
    "link a file": "import os; os.link(FILE, FOLDER + '/second'); print('escaped')",
    "change who may read": "import os; os.chmod(FILE, 0o777); os.stat(FILE).st_mode & 0o777 == 0o777 and print('escaped')",
    "make a folder": "import os; os.mkdir(FOLDER + '/folder'); print('escaped')",
    "make a named pipe": "import os; os.mkfifo(FOLDER + '/pipe'); print('escaped')",
    "lock a file of others": "import fcntl; fcntl.flock(open(FILE), fcntl.LOCK_EX); print('escaped')",
    # Processes
    "see another process": "import os; str(VICTIM) in os.listdir('/proc') and print('escaped')",
    "reach another process": "import os; os.kill(VICTIM, 0); print('escaped')",
    "kill another process": "import os, signal; os.kill(VICTIM, signal.SIGTERM); print('escaped')",
    "hold on to another process": "import os; os.pidfd_open(VICTIM); print('escaped')",
    "learn its parent": "import os; os.getppid() == PARENT and print('escaped')",
    "start a process": "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(\"escaped\")'])",
    "start a shell": "import os; os.system('echo escaped')",
    "become a shell": "import os; os.execv('/bin/sh', ['sh', '-c', 'echo escaped'])",
    "spawn": "import os, sys; os.posix_spawn(sys.executable, [sys.executable, '-V'], {}); print('escaped')",
    "fork": "import os; os.fork() or os._exit(0); print('escaped')",
    "leave a child behind": (
        "import os, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    os.fork() or (time.sleep(0.2), os._exit(0))\n"
        "    os._exit(0)\n"
        "print('escaped')"
    ),
    "use a pool of processes": (
        "import concurrent.futures as futures\n"
        "with futures.ProcessPoolExecutor(1) as pool: pool.submit(abs, -1).result() == 1 and print('escaped')"
    ),
    "trace itself": "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0 and print('escaped')",
    # Memory that no limit sees
    "hold a file in memory": "import os; os.memfd_create('x'); print('escaped')",
    "hold a file in /dev/shm": "import os; path = '/dev/shm/' + PLANTED; open(path, 'w'); os.remove(path); print('escaped')",
    "share memory by name": (
        "from multiprocessing.shared_memory import SharedMemory\n"
        "memory = SharedMemory(create=True, size=1); memory.close(); memory.unlink(); print('escaped')"
    ),
    # Sockets: to this machine only
    "connect to a server": "import socket; print(socket.create_connection(('127.0.0.1', PORT), 1).recv(100))",
    "send a datagram": (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.sendto(b'x', ('127.0.0.1', PORT)); print('escaped')"
    ),
    "listen": "import socket; socket.create_server(('127.0.0.1', 0)); print('escaped')",
    "connect to an abstract socket": (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0' + PLANTED); print(s.recv(100))"
    ),
    "connect to a socket in a folder": (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect(FOLDER + '/socket'); print(s.recv(100))"
    ),
    "list the network's interfaces": "import socket; socket.if_nameindex() and print('escaped')",
    "look a name up": "import socket; socket.getaddrinfo('localhost', 80); socket.socket(); print('escaped')",
}

# What would change the machine. Each prints "refused" if it may not; "escaped" if it may.
_FILES = (
    "for path in ({}):\n"
    "    try: open(path + '/new', 'w').write('x'); print('escaped', path)\n"
    "    except OSError: print('refused', path)"
)
_CALL = (
    "import ctypes\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "answer = libc.{}\n"
    "print('refused' if answer == -1 and ctypes.get_errno() in (1, 38) else f'escaped {{answer}} {{ctypes.get_errno()}}')"
)
_RAISES = "try: {}; print('escaped')\nexcept (OSError, ValueError) as error: print('refused', error)"

# By the C library's own names, or by numbers from Linux' x86_64 table and its general one, as (x86_64, aarch64).
_CALLS = {
    "trace another process": "ptrace(16, 1, 0, 0)",
    "read another process' memory": "process_vm_readv(1, None, 0, None, 0, 0)",
    "write another process' memory": "process_vm_writev(1, None, 0, None, 0, 0)",
    "make a namespace of users": "unshare(0x10000000)",
    "make a namespace of mounts": "unshare(0x00020000)",
    "enter a namespace": "setns(0, 0)",
    "mount": "mount(b'none', b'/tmp', b'tmpfs', 0, None)",
    "make the root writable": "mount(None, b'/', None, 32 | 4096, None)",
    "unmount": "umount2(b'/tmp', 2)",
    "change the root": "chroot(b'/tmp')",
    "memory without a limit: System V": "shmget(0, 4096, 0o1600)",
    "memory without a limit: messages": "msgget(0, 0o1600)",
    "memory without a limit: semaphores": "semget(0, 1, 0o1600)",
    "memory without a limit: pages in a pipe": "vmsplice(1, None, 0, 0)",
    "open a file by number": "open_by_handle_at(-1, None, 0)",
    "watch all files": "fanotify_init(0, 0)",
    "turn address randomisation off": "personality(0x0040000)",
    "read the kernel's log": "klogctl(3, None, 0)",
    "keep accounts": "acct(None)",
    "swap": "swapoff(b'/tmp')",
    "clone into a namespace": "syscall({clone}, 0x10000000 | 17, 0, 0, 0, 0)",
    "clone with a thread's memory": "syscall({clone}, 0x100 | 17, 0, 0, 0, 0)",
    "a socket by another table of calls": "syscall(0x40000000 | 41, 1, 1, 0)",
    "clone anew": "syscall(435, None, 88)",
    "io_uring": "syscall(425, 1, None)",
    "memory that nobody else sees": "syscall(447, 0)",
    "mount anew": "syscall(430, b'tmpfs', 0)",
    "take another process' file": "syscall(438, 0, 0, 0)",
    "load a program into the kernel": "syscall({bpf}, 0, None, 0)",
    "count events": "syscall({perf_event_open}, None, 0, -1, -1, 0)",
    "handle page faults": "syscall({userfaultfd}, 0)",
    "keep keys": "syscall({keyctl}, 0, -3, 0)",
    "compare processes": "syscall({kcmp}, 1, 1, 0, 0, 0)",
    "load a module": "syscall({finit_module}, 0, b'', 0)",
    "load a kernel": "syscall({kexec_load}, 0, 0, None, 0)",
}
_NAMES = "clone bpf perf_event_open userfaultfd keyctl kcmp finit_module kexec_load".split()
_NUMBERS = {
    "x86_64": dict(zip(_NAMES, (56, 321, 298, 323, 250, 312, 313, 246), strict=True)),
    "aarch64": dict(zip(_NAMES, (220, 280, 241, 282, 219, 272, 273, 104), strict=True)),
}

INSIDE_ONLY = {
    "write to the root": _FILES.format("'/', '/code', '/dev', '/usr'"),
    "write to the library": _FILES.format("'/python', '/python/bin', '/python/lib', '/usr/lib'"),
    "write into the code": _RAISES.format("open('/code/main.py', 'a')"),
    "change the code's mode": _RAISES.format("__import__('os').chmod('/code/main.py', 0o777)"),
    "write to the interpreter": _RAISES.format("open('/python/bin/python3', 'r+b')"),
    "import what is installed beside the interpreter": (
        "import os, sys\n"
        "places = [path + '/site-packages' for path in sys.path]\n"
        "found = [place for place in places if os.path.isdir(place) and os.listdir(place)]\n"
        "print('escaped' if found else 'refused')"
    ),
    "become root": _RAISES.format("__import__('os').setuid(0)"),
    "become root again": _RAISES.format("__import__('os').setresuid(0, 0, 0)"),
    "join root's group": _RAISES.format("__import__('os').setgid(0)"),
    "join groups": _RAISES.format("__import__('os').setgroups([0])"),
    "raise the limit on memory": _RAISES.format("import resource as r; r.setrlimit(r.RLIMIT_AS, (-1, -1))"),
    "raise the limit on files": _RAISES.format("import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (9999, 9999))"),
    "raise the limit on threads": _RAISES.format("import resource as r; r.setrlimit(r.RLIMIT_NPROC, (9999, 9999))"),
    "raise its priority": _RAISES.format("__import__('os').nice(-5)"),
    "rename the machine": _RAISES.format("import socket; socket.sethostname('mine')"),
    "make a device": _RAISES.format("import os; os.mknod('/tmp/disk', 0o60600, os.makedev(8, 0))"),
    "open the terminal": _RAISES.format("open('/dev/tty', 'w')"),
    "open a new terminal": _RAISES.format("__import__('os').openpty()"),
    "type for the user": "\n".join(
        f"try: import fcntl; fcntl.ioctl({number}, 0x5412, b'x'); print('escaped')\nexcept OSError: print('refused')"
        for number in range(3)
    ),
    "lock memory": (
        "import ctypes; p = ctypes.create_string_buffer(10**6)\n"
        "print('escaped' if ctypes.CDLL(None).mlock(p, 10**6) == 0 else 'refused')"
    ),
    "keep files open": (
        "import os\ntry: files = [os.dup(0) for _ in range(1000)]; print('escaped')\nexcept OSError: print('refused')"
    ),
    "grow a pipe beyond what users may": _RAISES.format("import fcntl, os; fcntl.fcntl(os.pipe()[1], 1031, 10**8)"),
    **{name: _CALL.format(call.format(**_NUMBERS[platform.machine()])) for name, call in _CALLS.items()},
}

# Code, limits, and how each must end. They run inside alone.
BOMBS = {
    "forks": ("import os\nwhile True: os.fork()", {}, "failed"),
    "threads": (
        "import threading, time\n"
        "threading.stack_size(32_768)\n"
        "for _ in range(2_000): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        {},
        "failed",
    ),
    "a large string": ("print(len('x' * 10**10))", {}, "memory"),
    "a list of strings": ("kept = []\nwhile True: kept.append(bytearray(10**6))", {}, "memory"),
    "a list of lists": ("kept = []\nwhile True: kept.append([kept])", {"memory_bytes": 64_000_000}, "memory"),
    "mapped memory": ("import mmap\nkept = []\nwhile True: kept.append(mmap.mmap(-1, 10**7))", {}, "failed"),
    "a large file": ("open('/tmp/file', 'wb').write(bytes(10**8))", {"disk_bytes": 10**7}, "failed"),
    "a file with a hole, filled": (
        "import mmap\n"
        "file = open('/tmp/file', 'w+b'); file.truncate(10**8)\n"
        "view = mmap.mmap(file.fileno(), 10**8)\n"
        "for place in range(0, 10**8, 4096): view[place] = 1",
        {"disk_bytes": 10**7},
        "failed",
    ),
    "files": ("for number in range(10**9): open(f'/tmp/{number}', 'w').close()", {}, "disk"),
    "folders": ("import os\nwhile True: os.mkdir('x'); os.chdir('x')", {}, "disk"),
    "links": ("import os\nfor number in range(10**9): os.symlink('x' * 4000, f'/tmp/{number}')", {}, "disk"),
    "output": ("while True: print('x' * 1000)", {}, "output"),
    "errors": ("import sys\nwhile True: sys.stderr.write('x' * 1000)", {}, "output"),
    "output by halves": ("import sys\nwhile True: print('x' * 100); print('x' * 100, file=sys.stderr)", {}, "output"),
    "a large write": ("import os\nwhile True: os.write(1, b'x' * 10**7)", {}, "output"),
    "a loop": ("while True: pass", {"seconds": 1}, "time"),
    "sleep": ("import time; time.sleep(1000)", {"seconds": 1}, "time"),
    "a number that never comes": ("print(9 ** 9 ** 9)", {"seconds": 1}, "time"),
    "a pattern that never ends": ("import re; re.match('(a+)+$', 'a' * 50 + 'b')", {"seconds": 1}, "time"),
    "deaf to signals": (
        "import signal\n"
        "for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(number, signal.SIG_IGN)\n"
        "while True: pass",
        {"seconds": 1},
        "time",
    ),
    "closed streams": ("import os\nfor number in range(3): os.close(number)\nwhile True: pass", {"seconds": 1}, "time"),
    "every processor": (
        "import hashlib, threading\n"
        "def work():\n"
        "    while True: hashlib.sha256(bytes(10**6))\n"
        "for _ in range(8): threading.Thread(target=work).start()",
        {"seconds": 1},
        "time",
    ),
    "messages with pipes in them": (
        "import os, socket\n"
        "left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "while True:\n"
        "    out, into = os.pipe(); os.write(into, bytes(65_536))\n"
        "    socket.send_fds(left, [b'x'], [out, into]); os.close(out); os.close(into)",
        {},
        "failed",
    ),
    "timers": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nmade = ctypes.c_void_p()\n"
        "for _ in range(1000): assert libc.timer_create(0, None, ctypes.byref(made)) == 0",
        {},
        "failed",
    ),
    "kill all": ("import os, signal; os.kill(-1, signal.SIGKILL)", {}, "failed"),
    "recursion": (
        "import sys; sys.setrecursionlimit(10**9)\ndef fall(_): return max(map(fall, [0]))\nfall(0)",
        {},
        "failed",
    ),
    "a broken pointer": ("import ctypes; ctypes.string_at(0)", {}, "failed"),
}

# mov eax, 20 (getpid); int 0x80; ret: a system call by the 32-bit table, on an x86_64
OLD_DOOR = (
    "import ctypes, mmap\n"
    "page = mmap.mmap(-1, 4096, prot=7); page.write(bytes.fromhex('b814000000cd80c3'))\n"
    "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()\n"
    "print('escaped')"
)
