#!/usr/bin/env python3
"""The same faults in jobs of cobre-launch, Open MPI and MPICH: what they end with, how long it takes,
what they print and what they leave. Prints Markdown.

    tests/peers/faults.py TARGET_DIR   where cobre-launch (or `launch`) and scripted-rank are built
"""
import os, signal, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
RANKS = 4
PATIENCE = 15
FAULTS = ["kill", "segv", "exit", "_exit", "return", "launcher killed"]
# The Rust runtime takes the first SIGSEGV for a guard page and restores the default.
OURS = {"kill": "kill:SIGKILL", "segv": "kill:SIGSEGV kill:SIGSEGV", "exit": "exit:7", "return": "say:bye"}


def build(cc, folder):
    program = os.path.join(folder, "faulty-" + os.path.basename(cc))
    subprocess.run([cc, "-O2", "-o", program, os.path.join(HERE, "faulty.c")], check=True)
    return program


def marked(mark):
    """Processes of this run, by a mark in their environment."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if f"FAULT_MARK={mark}".encode() in environ.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def files():
    """Only names that these systems make: others use the machine too."""
    known = ("vader", "sm_segment", "mpich", "ompi", "hydra", "prte", "pmix")
    names = [f"{d}/{n}" for d in ("/dev/shm", "/tmp") for n in os.listdir(d)]
    return {name for name in names if os.path.basename(name).startswith(known)}


def run(command, env, fault, serial):
    mark = f"{os.getpid()}-{serial}"
    before = files()
    job = subprocess.Popen(command, env={**os.environ, **env, "FAULT_MARK": mark}, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    begin = time.monotonic()
    said = b""
    while b"works" not in said:
        more = job.stdout.readline()
        if not more:
            break
        said += more
    begin = time.monotonic()
    if fault == "launcher killed":
        job.kill()
    hung = False
    try:
        rest, _ = job.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        hung = True
        job.kill()
        for pid in marked(mark):
            os.kill(pid, signal.SIGKILL)
        rest, _ = job.communicate()
    took = time.monotonic() - begin
    time.sleep(1)  # what a launcher's death takes with it
    left = marked(mark)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    new = sorted(files() - before)
    lines = [line.strip() for line in (said + rest).decode(errors="replace").splitlines()]
    lines = [line for line in lines if any(c.isalnum() for c in line) and line != "works" and not line.startswith("ok ")]
    return ("hangs" if hung else f"{took * 1000:.0f} ms", "" if hung else str(job.returncode), len(left), new, lines)


def main():
    target = sys.argv[1]
    rank = os.path.join(target, "scripted-rank")
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    with tempfile.TemporaryDirectory(prefix="peers-faults-") as folder:
        systems = []
        launch = os.path.join(target, "launch")
        systems.append(("cobre-launch", launch, rank, {}))
        for name, args in [("openmpi", ["--oversubscribe", "--bind-to", "none"]), ("mpich", ["-bind-to", "none"])]:
            mpirun = f"/usr/bin/mpirun.{name}"
            if os.path.exists(mpirun):
                env = {**root, "MPIR_CVAR_CH4_PROGRESS_THROTTLE": "1"}
                systems.append((name, [mpirun, *args, "-n", str(RANKS), build(f"/usr/bin/mpicc.{name}", folder)], None, env))
        print("| fault of rank 1 of 4, in a loop of allreduces | system | launcher returns after | code | processes left | files left | lines printed |")
        print("|---|---|---|---|---|---|---|")
        prints, serial = [], 0
        for fault in FAULTS:
            for name, what, program, env in systems:
                if program:
                    script = OURS.get(fault)
                    if script is None and fault != "launcher killed":
                        continue
                    others = [program, "join", "until-error:reduce:1"]
                    zero = [program, "join", "reduce:1", "say:works", "until-error:reduce:1"]
                    one = [program, "join", "reduce:1", *(script.split() if script else ["until-error:reduce:1"])]
                    command = [what, "-n", "1", *zero, ":", "-n", "1", *one, ":", "-n", str(RANKS - 2), *others]
                else:
                    command = [*what, fault]
                serial += 1
                took, code, left, new, lines = run(command, env, fault, serial)
                print(f"| {fault} | {name} | {took} | {code} | {left} | {', '.join(new) or 'none'} | {len(lines)} |", flush=True)
                prints.append((fault, name, lines))
        for fault, name, lines in prints:
            if fault in ("kill", "exit", "return") and lines:
                print(f"\n### {fault}, {name}\n\n```text")
                print("\n".join(line[:160] for line in lines[:14]))
                print("```")


main()
