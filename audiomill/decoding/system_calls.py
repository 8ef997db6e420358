"""What a decoding process may ask of the kernel, told to it by seccomp: to read and write what it was handed, no more.

From then on it opens no file, no socket and no other process, and starts nothing: a file that takes the decoder over
finds no key, no database, no network and no shell. Linux on x86-64 and 64-bit ARM; elsewhere nothing is installed.
The numbers are those of `asm/unistd.h`, the structures those of `linux/filter.h` and `linux/seccomp.h`.
"""

import ctypes
import errno
import os
import platform
import struct

_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Name: number on x86-64 and on 64-bit ARM, where it is None if there is no such call.
_REFUSED: dict[str, tuple[int, int | None]] = {
    "open": (2, None), "creat": (85, None), "openat": (257, 56), "openat2": (437, 437), "open_by_handle_at": (304, 265),
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "io_uring_setup": (425, 425),
    "clone": (56, 220), "clone3": (435, 435), "fork": (57, None), "vfork": (58, None), "execve": (59, 221),
    "execveat": (322, 281), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "link": (86, None), "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36), "mkdir": (83, None),
    "mkdirat": (258, 34), "rmdir": (84, None), "mknod": (133, None), "mknodat": (259, 33), "chmod": (90, None),
    "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None), "fchownat": (260, 54), "truncate": (76, 45),
    "mount": (165, 40), "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "memfd_create": (319, 279),
    "chdir": (80, 49), "chroot": (161, 51), "keyctl": (250, 219), "shmget": (29, 194), "mq_open": (240, 180),
}  # fmt: skip

_X32 = 0x40000000  # x86-64's second set of numbers for the same calls

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, JMP|JGE|K, RET|K
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # of seccomp_data
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def refuse_system_calls() -> bool:
    """Have the kernel refuse them to this process from now on, for good. False where it cannot."""
    machine = platform.machine()
    if os.uname().sysname != "Linux" or machine not in _AUDIT_ARCHITECTURE:
        return False
    code = _program(machine)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    program = _Program(len(code) // 8, code)
    return bool(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _program(machine: str) -> bytes:
    """A line each: (operation, operand, how many lines to skip when true, when false)."""
    column = list(_AUDIT_ARCHITECTURE).index(machine)
    numbers = [call[column] for call in _REFUSED.values() if call[column] is not None]
    refuse = len(numbers) + 1  # lines from the first comparison to the refusal
    lines = [
        (_LOAD, _ARCHITECTURE_AT, 0, 0),
        (_EQUAL, _AUDIT_ARCHITECTURE[machine], 0, refuse + 2),
        (_LOAD, _NUMBER_AT, 0, 0),
        (_AT_LEAST, _X32, refuse, 0),
        *((_EQUAL, number, refuse - 1 - index, 0) for index, number in enumerate(numbers)),
        (_RETURN, _ALLOW, 0, 0),
        (_RETURN, _REFUSE, 0, 0),
    ]
    return b"".join(struct.pack("=HBBI", operation, yes, no, operand) for operation, operand, yes, no in lines)
