import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torchvision_imports_and_its_transforms_work():
    code = (
        "from feedback_service.models.torchvision_shim import install\n"
        "install(); install()\n"
        "import torch, torchvision\n"
        "from torchvision.transforms import v2\n"
        "install()\n"
        "print(tuple(v2.functional.resize(torch.zeros(3, 8, 8), [4, 4]).shape))"
    )
    assert run(code) == "(3, 4, 4)"


def test_a_missing_torchvision_stays_missing():
    code = (
        "import sys, importlib.util\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None): return None\n"
        "    def invalidate_caches(self): pass\n"
        "import torch\n"
        "from feedback_service.models.torchvision_shim import install\n"
        "sys.meta_path[:] = [Hidden()]\n"
        "install()\n"
        "print(hasattr(torch.ops.torchvision, 'nms'))"
    )
    assert run(code) == "False"
