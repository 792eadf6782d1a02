"""The options for a CPU reach XLA, or a warning says that they cannot."""

import os
import re
import subprocess
import sys

import pytest

import fimlag as fl

LOOP, FUSION = "xla_cpu_small_while_loop_byte_threshold=1000000000", "xla_cpu_use_multi_output_fusion"
WIDTH = "--xla_cpu_prefer_vector_width=512"
COMPILE = "jax.jit(lambda x: x + 1)(1.0)"


def in_a_new_process(script, **environment):
    """What a script prints, warnings among it, with these variables alone set for jax and XLA."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("XLA", "JAX"))}
    command = [sys.executable, "-W", "always::UserWarning", "-c", f"import os, jax, fimlag as fl\n{script}"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env={**inherited, **environment})
    return run.stdout + run.stderr


def options_seen_by_xla(folder):
    """`(extra options, width of vectors)` in XLA's own record of a compilation."""
    record = next(folder.glob("*debug_options")).read_text()
    extra = re.findall(r'xla_backend_extra_options: \{\s*key: "(\w+)"\s*value: "(\w*)"', record)
    return dict(extra), re.findall(r"^xla_cpu_prefer_vector_width: (\d+)", record, re.MULTILINE)


def test_xla_receives_the_options_beside_those_of_the_user(tmp_path):
    flags = f"--xla_dump_to={tmp_path} --xla_backend_extra_options=xla_cpu_optimize_for_size"
    printed = in_a_new_process(f"fl.enable_fast_cpu(); fl.enable_fast_cpu()\n{COMPILE}", XLA_FLAGS=flags)
    assert "UserWarning" not in printed
    name, _, value = LOOP.partition("=")
    extra, widths = options_seen_by_xla(tmp_path)
    assert extra == {name: value, FUSION: "", "xla_cpu_optimize_for_size": ""}
    assert widths == ["512"]


def test_late_call_warns_and_changes_nothing():
    printed = in_a_new_process(f"{COMPILE}\nfl.enable_fast_cpu()\nprint(os.environ.get('XLA_FLAGS'))")
    assert re.search(r"UserWarning: enable_fast_cpu\(\) had no effect. It is too late", printed)
    assert printed.startswith("None\n")


@pytest.fixture
def flags(monkeypatch):
    """What a call makes of flags, before any device is used, or after."""

    def after_call(given, in_use=False):
        monkeypatch.setenv("XLA_FLAGS", given)
        monkeypatch.setattr("fimlag._fast_cpu._devices_in_use", lambda: in_use)
        fl.enable_fast_cpu()
        return os.environ["XLA_FLAGS"]

    return after_call


def test_options_join_an_empty_environment(flags):
    assert flags("") == f"--xla_backend_extra_options={LOOP},{FUSION} {WIDTH}"


def test_second_call_changes_nothing_and_is_silent_after_the_first_computation(flags):
    once = flags("--xla_cpu_max_isa=AVX2")
    assert flags(once) == once
    assert flags(once, in_use=True) == once


def test_values_of_the_user_are_kept(flags):
    loop = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=5"
    assert flags(loop) == f"{loop} --xla_backend_extra_options={FUSION} {WIDTH}"
    width = "--xla_cpu_prefer_vector_width=128"
    assert flags(width) == f"{width} --xla_backend_extra_options={LOOP},{FUSION}"


def test_file_of_flags_is_left_alone_with_a_warning(flags):
    with pytest.warns(UserWarning, match="names the file"):
        assert flags("flags.txt") == "flags.txt"


def test_number_of_devices_stays_that_of_the_user_and_can_still_be_set():
    show = "print(jax.device_count('cpu'))"
    before = f"jax.config.update('jax_num_cpu_devices', 3); fl.enable_fast_cpu(); {show}"
    after = f"fl.enable_fast_cpu(); jax.config.update('jax_num_cpu_devices', 3); {show}"
    assert in_a_new_process(before).startswith("3\n")
    assert in_a_new_process(after).startswith("3\n")
