"""A pretend GPU: a device of PyTorch's own kind on ordinary memory, with the processor's kernels.

Its numbers are real, but a tensor there does not mix with one on the processor, its draws are its own,
memory is limited, and launches of kernels and waits are counted. It is called "npu", a name that
Accelerate knows. It can't show what NCCL, streams, cuDNN, TF32 or `torch.compile` do.

PyTorch must learn of a device before it is used, so that tests run in children:

    with PretendDevice(devices=1, memory=1 << 30) as device:
        answer = device.call(function, "plain", arguments=1)   # a function of a test's file, and JSON
    subprocess.run([sys.executable, "recipes/sentiment.py", ...], env=environment(devices=2))
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "npu"
MODEL = "Pretend GPU"
_HERE = Path(__file__).parent / "device"
_SOURCE = _HERE / "device.cpp"
_ROOT = Path(__file__).parents[2]


def why_not() -> str:
    """Why there can be no such device here, in a line; nothing where there can."""
    if _library().exists() or (shutil.which("g++") and shutil.which("ninja")):
        return ""
    return "The pretend GPU needs g++ and ninja (apt-get install g++ ninja-build)."


def built() -> bool:
    """Whether it has been compiled, by this version of PyTorch and from this source."""
    return _library().exists()


def environment(devices: int = 1, memory: int | None = None) -> dict[str, str]:
    """The variables with which a Python process, and each that it starts, has the device from its start.

    Args:
        devices: How many there are.
        memory: Bytes that each has; None for 16 GiB.
    """
    build()
    paths = [str(_HERE), str(_ROOT), str(_ROOT / "tests"), str(_HERE.parent)]
    if "PYTHONPATH" in os.environ:
        paths.append(os.environ["PYTHONPATH"])
    own = {"PRETEND_DEVICES": str(devices), "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return os.environ | own | ({} if memory is None else {"PRETEND_MEMORY": str(memory)})


@dataclass(frozen=True)
class Answer:
    """What came of a call: what the function gave, how it ended, what it printed, and what was counted."""

    value: Any
    error: str  # the name of the exception and what it says
    printed: str
    counts: dict[str, int]  # launches, waits, and each kind of them by its name

    def checked(self) -> Any:
        """What the function gave; an error, with all that was printed, if it failed."""
        assert not self.error, f"{self.error}\n{self.printed}"
        return self.value


class PretendDevice:
    """A process that has the device and the libraries ready, in which functions are called.

    Each call is made in a fork of it, so that no call sees what another has left.

    Args:
        devices: How many there are.
        memory: Bytes that each has; None for 16 GiB.
    """

    def __init__(self, devices: int = 1, memory: int | None = None) -> None:
        self._environment = environment(devices, memory)

    def __enter__(self) -> "PretendDevice":
        command = [sys.executable, str(_HERE / "serve.py")]
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=self._environment)
        return self

    def __exit__(self, *_: object) -> None:
        with self._server:  # closes its input, whereupon it ends
            pass

    def call(
        self,
        function: Callable[..., Any],
        *given: Any,
        seconds: float = 120,
        memory: int | None = None,
        **named: Any,
    ) -> Answer:
        """Call a function of a file there.

        Args:
            function: A plain one, at the top of its file, which is run there. It gives what JSON can hold.
            *given: Its arguments, of JSON's kinds.
            seconds: After which it is killed.
            memory: Bytes that each device has in this call; None for what was set.
            **named: Its arguments by name.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        file = function.__code__.co_filename
        with tempfile.TemporaryDirectory() as folder:
            request = {
                "file": file, "function": function.__name__, "given": given, "named": named,
                "folder": folder, "seconds": seconds, "memory": memory,
            }  # fmt: skip
            print(json.dumps(request), file=self._server.stdin, flush=True)
            ended = self._server.stdout.readline()
            assert ended, "The process with the pretend GPU has died."
            log, answer = Path(folder, "log"), Path(folder, "answer")
            printed = log.read_text(errors="replace") if log.exists() else ""
            if not answer.exists():
                return Answer(None, f"Ended: {ended.strip()}", printed, {})
            return Answer(**json.loads(answer.read_text()), printed=printed)


def build() -> Path:
    """Compile the device, unless it is there: a minute of one core, once for a version of PyTorch."""
    from filelock import FileLock

    library = _library()
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(library.parent / "building"):
        if not library.exists():
            from torch.utils.cpp_extension import load

            folder = library.parent / "unfinished"
            shutil.rmtree(folder, ignore_errors=True)  # of one who was killed
            folder.mkdir()
            flags = ["-O1", "-w"]
            load(library.stem, [str(_SOURCE)], flags, build_directory=str(folder), with_cuda=False)
            (folder / library.name).replace(library)
    return library


def start(devices: int = 1, memory: int | None = None) -> ModuleType:
    """Let PyTorch and Accelerate know the device, before anything uses them; give what counts.

    Args:
        devices: How many there are.
        memory: Bytes that each has; None for 16 GiB.
    """
    import torch

    spec = importlib.util.spec_from_file_location("pretend_device", build())
    assert spec is not None
    assert spec.loader is not None
    library = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    torch.utils.rename_privateuse1_backend(NAME)
    library.start(devices)
    if memory is not None:
        library.set_memory(memory)
    torch._register_device_module(NAME, _module(library))
    torch.utils.generate_methods_for_privateuse1_backend(for_storage=True)
    _tell_accelerate()
    return library


def _library() -> Path:
    import torch

    digest = blake2b(_SOURCE.read_bytes(), digest_size=4).hexdigest()
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR", "~/.cache/torch_extensions")).expanduser()
    return root / f"pretend-device-{torch.__version__}-{digest}" / "pretend_device.so"


def _module(library: ModuleType) -> ModuleType:
    """What PyTorch and others look for at `torch.npu`."""
    import torch

    def index(device: Any = None) -> int:
        if isinstance(device, int):
            return device
        found = None if device is None else torch.device(device).index
        return library.current_device() if found is None else found

    def seed_all(seed: int) -> None:
        for number in range(library.device_count()):
            library.default_generator(number).manual_seed(seed)

    module = ModuleType(f"torch.{NAME}")
    module.__dict__.update(
        is_available=lambda: True,
        is_initialized=lambda: True,
        _is_in_bad_fork=lambda: False,
        _lazy_init=lambda: None,
        device_count=library.device_count,
        current_device=library.current_device,
        set_device=lambda device: library.set_device(index(device)),
        device=lambda device: torch.accelerator.device_index(index(device)),
        get_device_name=lambda device=None: MODEL,
        synchronize=torch.accelerator.synchronize,
        empty_cache=torch.accelerator.empty_cache,
        mem_get_info=lambda device=None: torch.accelerator.get_memory_info(index(device)),
        memory_allocated=lambda device=None: torch.accelerator.memory_allocated(index(device)),
        max_memory_allocated=lambda device=None: torch.accelerator.max_memory_allocated(index(device)),
        reset_peak_memory_stats=lambda device=None: torch.accelerator.reset_peak_memory_stats(index(device)),
        manual_seed=lambda seed: library.default_generator(index()).manual_seed(seed),
        manual_seed_all=seed_all,
        get_rng_state=lambda device=NAME: library.default_generator(index(device)).get_state(),
        set_rng_state=lambda state, device=NAME: library.default_generator(index(device)).set_state(state),
        get_amp_supported_dtype=lambda: [torch.bfloat16, torch.float16, torch.float32],
        is_bf16_supported=lambda: True,
        amp=ModuleType(f"torch.{NAME}.amp"),
        Stream=torch.Stream,
        Event=torch.Event,
        stream=lambda stream: nullcontext(),
        current_stream=torch.accelerator.current_stream,
    )
    module.amp.GradScaler = partial(torch.amp.GradScaler, NAME)
    return module


def _tell_accelerate() -> None:
    """Accelerate asks for a package that comes with the real device."""
    import accelerate

    for name, module in list(sys.modules.items()):
        if name.startswith(accelerate.__name__) and hasattr(module, "is_npu_available"):
            module.is_npu_available = lambda check_device=False: True
