"""The system calls that untrusted code does not get, as a program that the kernel runs before each of its calls.

Denied (EPERM) is what leads out of the limits or needs no namespace to do harm: starting processes (so that memory is
that of one), sockets, memory that RLIMIT_AS does not see (memfd, System V, pages pinned in pipes), looking at or changing
other processes, namespaces and mounts, and doors to much kernel code (bpf, perf, keys). Threads are allowed: clone with
CLONE_THREAD, which excludes new namespaces. Calls from FIRST_NEWER on do not exist (ENOSYS), as on an older kernel:
everything has a fallback for those, flags of clone3 cannot be seen from here, and newer ones are unknown to us.

The program is classic BPF over `struct seccomp_data` (number, architecture, arguments): man 2 seccomp.
"""

from __future__ import annotations

import errno
import platform
import struct

FIRST_NEWER = 424  # the same numbers on every architecture from here on: pidfd, io_uring, clone3, mount API, landlock, ...
CLONE_THREAD = 0x10000

# Of Linux' unistd_64.h and asm-generic/unistd.h; -1 where an architecture has no such call.
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
CLONE = (56, 220)
DENIED = {
    "fork": (57, -1),
    "vfork": (58, -1),
    "socket": (41, 198),
    "memfd_create": (319, 279),
    "vmsplice": (278, 75),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "syslog": (103, 116),
    "personality": (135, 92),
    "modify_ldt": (154, -1),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "iopl": (172, -1),
    "ioperm": (173, -1),
}

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # bytes into seccomp_data; the lower half of the argument
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def seccomp_filter(machine: str | None = None) -> bytes | None:
    """The filter for a machine as `platform.machine()` names it, this one by default; None for one we do not know."""
    found = ARCHITECTURES.get(machine or platform.machine())
    if found is None:
        return None
    architecture, column = found
    denied = [numbers[column] for numbers in DENIED.values() if numbers[column] >= 0]
    refused, missing = len(denied) + 8, len(denied) + 10  # where their returns stand; a jump counts from behind itself
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, missing - 5, 0, FIRST_NEWER),
        *((_EQUAL, refused - place, 0, number) for place, number in enumerate(denied, start=6)),
        (_EQUAL, 0, 3, CLONE[column]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 1, 0, CLONE_THREAD),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
