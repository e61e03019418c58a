"""What the package repeats of shmpipe.h."""

import ctypes
import os
import unittest

import shmpipe


class Declarations(unittest.TestCase):
    """The package repeats a part of shmpipe.h. That part is compared here."""

    HEADER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "capi", "include", "shmpipe.h")

    def header(self):
        if not os.path.exists(self.HEADER):
            self.skipTest("not run: the tests are not in a copy of the repository")
        with open(self.HEADER, encoding="utf-8") as file:
            return file.read()

    def test_each_code_has_a_kind(self):
        import re

        codes = {int(number) for number in re.findall(r"^    SHMPIPE_\w+ = (-\d+)", self.header(), re.M)}
        self.assertGreater(len(codes), 25)
        self.assertEqual(codes - {-1}, set(shmpipe._errors.KINDS))

    #: The types of C, as ctypes has them. ctypes would cut off what a smaller type cannot hold.
    TYPES = {
        "size_t": ctypes.c_size_t, "int": ctypes.c_int, "uint32_t": ctypes.c_uint32, "int32_t": ctypes.c_int32,
        "uint64_t": ctypes.c_uint64, "int64_t": ctypes.c_int64, "void": None,
    }  # fmt: skip

    def check_type(self, declared, known, where):
        """Compares a parameter, a field or a result, such as `uint64_t nonce` or `char *path`, with a type of ctypes."""
        if "*" in declared or "[" in declared:
            is_pointer = known in (ctypes.c_void_p, ctypes.c_char_p) or issubclass(known, ctypes._Pointer)
            self.assertTrue(is_pointer, (where, declared))
        else:
            self.assertIs(self.TYPES[declared.replace("const ", "").split()[0]], known, (where, declared))

    def test_each_struct_has_the_fields_of_the_header(self):
        import re

        from shmpipe import _library

        structs = (("options", _library.Options), ("stats", _library.Stats), ("occupant", _library.Occupant))
        for name, struct in structs:
            body = re.search(r"typedef struct shmpipe_%s \{(.*?)\}" % name, self.header(), re.S).group(1)
            body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
            fields = [field.strip() for field in body.split(";") if field.strip()]
            declared = [field.split()[-1].lstrip("*") for field in fields]
            self.assertEqual(declared, [field for field, _ in struct._fields_], name)
            for field, (_, known) in zip(fields, struct._fields_):
                self.check_type(field, known, name)

    def test_each_function_has_the_types_of_the_header(self):
        import re

        from shmpipe import _library

        code = re.sub(r"/\*.*?\*/", "", self.header(), flags=re.S)
        for name, result, known in _library._FUNCTIONS:
            found = re.search(r"^([\w ]+\*?)\s*\bshmpipe_%s\((.*?)\);" % name, code, re.S | re.M)
            declared = [] if found.group(2) == "void" else [part.strip() for part in found.group(2).split(",")]
            self.assertEqual(len(declared), len(known), name)
            self.check_type(found.group(1), result, name)
            for parameter, kind in zip(declared, known):
                self.check_type(parameter, kind, name)
