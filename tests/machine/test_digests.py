import hashlib

import numpy as np

from hf_transfer.machine.digests import bytes_digest, file_digest, json_digest


def test_a_file_has_the_digest_of_its_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def test_the_digest_of_values_is_that_of_their_json():
    assert json_digest({"a": (1, None)}) == bytes_digest(b'{"a": [1, null]}')
    assert json_digest([np.int64(1)]) == json_digest([1]) != json_digest(["1"])
    assert len(json_digest([], 6)) == 12
