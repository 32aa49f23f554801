"""The start of the runtime: `start` for the exec wrapper, `python -m streaming_runtime <module.handler>` elsewhere."""

import os
import sys
from collections.abc import Callable

from .init_error import report_init_error

AWSLAMBDARIC = "4.2.2"  # the version whose classes the runtime extends


def start(folder: str) -> None:
    """Runs the handler in _HANDLER. `folder` has the packages of this layer, and is the first entry of sys.path."""
    run = _load()
    from .search_path import use_path_of_lambda

    use_path_of_lambda(folder)
    run([os.environ.get("LAMBDA_TASK_ROOT", ""), os.environ["_HANDLER"]])


def _load() -> Callable[[list[str]], None]:
    """Returns the main loop. Reports an init error, and exits, if awslambdaric is not the version that it needs."""
    try:
        import awslambdaric

        found = f"{awslambdaric.__version__} in {os.path.dirname(awslambdaric.__file__)}"
        if awslambdaric.__version__ == AWSLAMBDARIC:
            import runtime_client  # noqa: F401 - machine code, which awslambdaric would ignore if it cannot be loaded

            from .main_loop import run

            return run
    except ImportError as error:
        found = f"{type(error).__name__}: {error}"
    report_init_error(
        "Runtime.StreamingRuntimeError",
        f"The streaming runtime needs awslambdaric {AWSLAMBDARIC} for this Python and processor, and found {found}. "
        "Build its layer again, and remove other copies of awslambdaric that are imported earlier.",
    )
    sys.exit(1)


if __name__ == "__main__":
    _load()(sys.argv)
