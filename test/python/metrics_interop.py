"""Reads what metrics-export.ts writes: event files with TensorBoard, runs with MLflow. Prints JSON."""

import json
import os
import subprocess
import sys
import time
import urllib.request


def tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for path, _, files in os.walk(folder):
        if not files:
            continue
        events = EventAccumulator(path)
        events.Reload()
        found[os.path.relpath(path, folder)] = {
            tag: [[event.step, event.value] for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
        }
    return found


def serve(folder, port):
    """Starts a server, prints its number once it answers, and waits to be ended."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--default-artifact-root", folder]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if server.poll() is not None:
                raise SystemExit("the server ended by itself")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
                break
            except OSError:
                time.sleep(0.5)
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        server.terminate()
        server.wait()


def mlflow(url, experiment):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=url)
    number = client.get_experiment_by_name(experiment).experiment_id
    return {
        run.info.run_name: {
            "status": run.info.status,
            "params": run.data.params,
            "metrics": {
                key: [[one.step, one.value] for one in client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics
            },
        }
        for run in client.search_runs([number])
    }


command, *words = sys.argv[1:]
if command == "serve":
    serve(*words)
else:
    print(json.dumps({"tensorboard": tensorboard, "mlflow": mlflow}[command](*words)))
