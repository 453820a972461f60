# SPDX-License-Identifier: Apache-2.0
"""Times on the device, by graph replays where they can be recorded, and what the machine reaches."""
import statistics
import time

import torch

from report import first_line


class Timer:
    def __init__(self, device, seconds):
        self.cuda, self.seconds = device == "cuda", seconds
        self.stream = torch.cuda.Stream() if self.cuda else None
        self.eager = {}  # the peers that cannot be captured, and why

    def prepare(self, name, work):
        """What runs `work` once, "graph" or why "eager", and its output."""
        if not self.cuda:
            return work, "eager", work()
        stream = self.stream
        stream.wait_stream(torch.cuda.current_stream())
        if name not in self.eager:
            try:
                with torch.cuda.stream(stream):
                    torch.cuda.set_sync_debug_mode("error")  # rather here than in the capture
                    try:
                        out = work()
                    finally:
                        torch.cuda.set_sync_debug_mode("default")
                    torch.cuda.synchronize()
                    graph = torch.cuda.CUDAGraph()
                    graph.capture_begin()
                    try:
                        work()
                    finally:
                        graph.capture_end()
                return graph.replay, "graph", out
            except torch.OutOfMemoryError:
                raise
            except Exception as problem:
                torch.cuda.synchronize()
                why = f"eager ({first_line(problem)})"
            out = work()  # if this raises too, it was not the capture
            self.eager[name] = why
            print(f"{name}: {why}", flush=True)
        out = work()
        return work, self.eager[name], out

    def once(self, run, repeats):
        if not self.cuda:
            begin = time.perf_counter()
            for _ in range(repeats):
                run()
            return (time.perf_counter() - begin) / repeats
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(repeats):
            run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3 / repeats

    def quick(self, run):
        if not self.cuda:
            return self.once(run, 1)
        run()
        return self.once(run, 3)

    def median(self, run):
        if not self.cuda:  # a self-test
            return self.once(run, 1)
        run()
        first = self.once(run, 2)
        batches = max(1, min(5, int(self.seconds / first)))
        repeats = max(1, min(400, int(self.seconds / batches / first)))
        return statistics.median(self.once(run, repeats) for _ in range(batches))


def measure_machine(timer, new, n, bytes_):
    source = torch.zeros(bytes_ // 4, device=new(1).device)
    target = torch.empty_like(source)
    a, b = new(n, n), new(n, n)
    return {"copy_bytes_per_second": 2 * bytes_ / timer.median(lambda: target.copy_(source)),
            "read_bytes_per_second": bytes_ / timer.median(lambda: source.sum()),
            "matmul_flops_per_second": 2 * n**3 / timer.median(lambda: torch.mm(a, b))}
