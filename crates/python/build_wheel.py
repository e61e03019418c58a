#!/usr/bin/env python3
"""Builds the wheel of this package, with the standard library alone.

    crates/python/build_wheel.py [FOLDER]     builds libshmpipe.so, and a wheel in FOLDER (default: dist)
    pip install crates/python                 does the same, and installs it

The wheel is for each Python from 3.8 on, since the package calls the shared object by ctypes. Its tag names the oldest
C library (manylinux_2_X) that has all symbols which the shared object needs. A wheel for older systems is built on an
older system. SHMPIPE_LIBRARY names a shared object that is built already.
"""

import base64
import hashlib
import os
import platform
import re
import subprocess
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def _text(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def _version():
    return re.search(r'#define SHMPIPE_VERSION "(.*)"', _text(ROOT, "crates/capi/include/shmpipe.h")).group(1)


def _library():
    built = os.environ.get("SHMPIPE_LIBRARY")
    if built:
        return built
    command = ["cargo", "rustc", "--release", "--locked", "--package", "shmpipe-capi", "--lib"]
    command += ["--crate-type", "cdylib", "--", "-C", "strip=symbols"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
    target = os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"))
    return os.path.join(target, "release", "libshmpipe.so")


def _oldest_glibc(library):
    """The newest version of the C library that the shared object asks for."""
    with open(library, "rb") as file:
        asked = re.findall(rb"\0GLIBC_(\d+)\.(\d+)", file.read())
    # Each architecture has a first version of its own, and manylinux begins with 2.17.
    return max([(2, 17)] + [(int(major), int(minor)) for major, minor in asked])


def _metadata():
    return "\n".join(
        [
            "Metadata-Version: 2.1",
            "Name: shmpipe",
            "Version: " + _version(),
            "Summary: A pipe made of System V shared memory",
            "License: MIT OR Apache-2.0",
            "Requires-Python: >=3.8",
            "Classifier: Operating System :: POSIX :: Linux",
            "Classifier: Typing :: Typed",
            "",
        ]
    )


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    library = _library()
    major, minor = _oldest_glibc(library)
    tag = "py3-none-manylinux_%d_%d_%s" % (major, minor, platform.machine())
    info = "shmpipe-%s.dist-info" % _version()
    source = os.path.join(HERE, "src", "shmpipe")
    files = {}
    for name in sorted(os.listdir(source)):
        if name.endswith((".py", ".typed")):
            files["shmpipe/" + name] = _text(source, name).encode()
    with open(library, "rb") as file:
        files["shmpipe/libshmpipe.so"] = file.read()
    files[info + "/METADATA"] = _metadata().encode()
    files[info + "/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: shmpipe\nRoot-Is-Purelib: false\nTag: %s\n" % tag
    ).encode()
    for name in ("LICENSE-MIT", "LICENSE-APACHE"):
        files[info + "/" + name] = _text(ROOT, name).encode()
    record = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append("%s,sha256=%s,%d" % (name, digest, len(content)))
    record.append(info + "/RECORD,,")
    files[info + "/RECORD"] = ("\n".join(record) + "\n").encode()

    os.makedirs(wheel_directory, exist_ok=True)
    wheel = "shmpipe-%s-%s.whl" % (_version(), tag)
    with zipfile.ZipFile(os.path.join(wheel_directory, wheel), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            # The same input makes the same bytes.
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if name.endswith(".so") else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return wheel


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError("the shared object is built from the whole repository: build a wheel")


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "dist")
    print(os.path.join(folder, build_wheel(folder)))
