// SPDX-License-Identifier: Apache-2.0
// Streams, events and graphs of the simulator.
#include <algorithm>
#include <string>

#include "runtime/cuda/sim/options.h"
#include "runtime/cuda/sim/runtime_api.h"
#include "runtime/cuda/sim/runtime_state.h"

using folkmoot::cuda::sim::Do;
using folkmoot::cuda::sim::KernelName;
using folkmoot::cuda::sim::Options;
using folkmoot::cuda::sim::Report;

cudaError_t folkmoot::cuda::sim::Do(cudaStream_t stream, cudaGraphNodeType type,
                                    std::function<cudaError_t()> work) {
  if (stream != nullptr && stream->capture) {
    stream->capture->nodes.push_back(
        std::make_shared<CUgraphNode_st>(CUgraphNode_st{type, std::move(work)}));
    return cudaSuccess;
  }
  if (stream != nullptr && stream->held) return cudaSuccess;  // it never gets there
  return Report(work());
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  // As on a GPU, waiting breaks the recording; its end reports that too.
  if (stream != nullptr && stream->capture) return Report(cudaErrorStreamCaptureUnsupported);
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  // No error that is kept: the answer of a stream at work.
  if (stream != nullptr && stream->held) return cudaErrorNotReady;
  return cudaStreamSynchronize(stream);
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return Do(stream, cudaGraphNodeTypeHost, [function, data] {
    function(data);
    return cudaSuccess;
  });
}
void folkmoot::cuda::sim::HoldStream(cudaStream_t stream, bool hold) { stream->held = hold; }

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return Do(stream, cudaGraphNodeTypeEmpty, [event] {
    event->time = std::chrono::steady_clock::now();
    return cudaSuccess;
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr || stream->capture) return Report(cudaErrorStreamCaptureUnsupported);
  stream->capture = std::make_unique<CUgraph_st>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!stream->capture) return Report(cudaErrorInvalidValue);
  *graph = stream->capture.release();
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = stream != nullptr && stream->capture ? cudaStreamCaptureStatusActive
                                                 : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (nodes != nullptr) {
    *count = std::min(*count, graph->nodes.size());
    for (size_t i = 0; i < *count; ++i) nodes[i] = graph->nodes[i].get();
  } else {
    *count = graph->nodes.size();
  }
  return cudaSuccess;
}
cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  *type = node->type;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (stream != nullptr && stream->capture) return Report(cudaErrorStreamCaptureUnsupported);
  for (const auto& node : executable->nodes) {
    if (stream != nullptr && stream->held) break;
    if (const cudaError_t error = node->run(); error != cudaSuccess) return Report(error);
  }
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute attribute, int value) {
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize &&
      value > Options().shared_bytes_per_block) {
    return Report(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
cudaError_t cudaFuncGetName(const char** name, const void* kernel) {
  static thread_local std::string text;
  text = KernelName(kernel);
  *name = text.c_str();
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int threads,
                                                          size_t shared_bytes) {
  if (threads <= 0 || threads > 1024) return Report(cudaErrorInvalidValue);
  *blocks = std::min(2048 / threads, 32);
  if (shared_bytes > 0) {
    const auto shared = static_cast<size_t>(Options().shared_bytes_per_block);
    *blocks = std::min(*blocks, static_cast<int>(shared / shared_bytes));
  }
  return cudaSuccess;
}
