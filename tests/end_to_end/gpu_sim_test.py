# SPDX-License-Identifier: Apache-2.0
"""The real program over the simulator: generate and serve with --device cuda answer as on the CPU.

Usage: gpu_sim_test.py FOLKMOOT_SIM SOURCE_DIR
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import unittest

PROGRAM = os.path.abspath(sys.argv[1])
DEMO = os.path.join(os.path.abspath(sys.argv[2]), "models", "demo-kjv")
PROMPT = "And the LORD said unto"
SMALL = ["--max-num-seqs", "4", "--max-num-batched-tokens", "32", "--max-model-len", "64"]
HUGE = ["--max-num-batched-tokens", "400000", "--gpu-memory-utilization", "0.01"]


def generate(device, flags=SMALL):
    return subprocess.run(
        [PROGRAM, "generate", DEMO, "--prompt", PROMPT, "--max-tokens", "4", "--temperature", "0", "--json",
         "--device", device, *flags],
        capture_output=True, text=True, timeout=300)


class GpuSimulated(unittest.TestCase):
    def test_generate_says_what_the_cpu_says(self):
        cpu = generate("cpu")
        gpu = generate("cuda")
        self.assertEqual(gpu.returncode, 0, gpu.stderr)
        self.assertEqual(json.loads(gpu.stdout)["token_ids"], json.loads(cpu.stdout)["token_ids"])

    def test_memory_that_does_not_suffice(self):
        done = generate("cuda", HUGE)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--gpu-memory-utilization", done.stderr)

    def test_serve_answers_a_completion(self):
        server = subprocess.Popen(
            [PROGRAM, "serve", DEMO, "--device", "cuda", "--port", "0", "--served-model-name", "demo", *SMALL],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            port = None
            for line in server.stderr:
                found = re.search(r"http://[^:/\s]+:(\d+)", line)
                if found:
                    port = int(found.group(1))
                    break
            self.assertIsNotNone(port, "the server said no address")
            threading.Thread(target=server.stderr.read, daemon=True).start()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
            body = {"model": "demo", "prompt": PROMPT, "max_tokens": 4, "temperature": 0}
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            answer = json.loads(reply.read())
            self.assertEqual(reply.status, 200, answer)
            cpu = json.loads(generate("cpu").stdout)
            self.assertEqual(answer["choices"][0]["text"], cpu["text"])
            self.assertEqual(answer["usage"]["completion_tokens"], 4)
        finally:
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(timeout=60), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
