// SPDX-License-Identifier: Apache-2.0
// Graph and Timer of device.h.
#include <vector>

#include "runtime/cuda/device.h"
#include "runtime/cuda/error.h"
#include "runtime/cuda/platform.h"

namespace folkmoot::cuda {
namespace {

cudaStream_t Handle(const Stream& stream) { return static_cast<cudaStream_t>(stream.handle()); }

absl::StatusOr<int> CountKernels(cudaGraph_t graph) {
  size_t count = 0;
  FM_CUDA_RETURN(cudaGraphGetNodes(graph, nullptr, &count), "counting the nodes of a graph");
  std::vector<cudaGraphNode_t> nodes(count);
  FM_CUDA_RETURN(cudaGraphGetNodes(graph, nodes.data(), &count), "reading the nodes of a graph");
  int kernels = 0;
  for (cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type;
    FM_CUDA_RETURN(cudaGraphNodeGetType(node, &type), "reading a node of a graph");
    if (type == cudaGraphNodeTypeKernel) ++kernels;
  }
  return kernels;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Graph>> Graph::Record(Stream& stream,
                                                     absl::FunctionRef<void()> work) {
  FM_RETURN_IF_ERROR(stream.status());
  FM_CUDA_RETURN(cudaStreamBeginCapture(Handle(stream), cudaStreamCaptureModeThreadLocal),
                 "recording a graph");
  work();
  cudaGraph_t graph = nullptr;
  const cudaError_t error = cudaStreamEndCapture(Handle(stream), &graph);
  std::unique_ptr<Graph> result(new Graph);
  absl::Status status = stream.status();  // of a launch that was refused while recording
  if (status.ok()) status = CudaStatus(error, "recording a graph");
  if (status.ok()) {
    absl::StatusOr<int> kernels = CountKernels(graph);
    status = kernels.status();
    if (status.ok()) result->kernels_ = *kernels;
  }
  if (status.ok()) {
    cudaGraphExec_t executable = nullptr;
    status = CudaStatus(cudaGraphInstantiate(&executable, graph, 0), "preparing a graph");
    result->executable_ = executable;
  }
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (!status.ok()) return status;
  return result;
}

Graph::~Graph() {
  if (executable_ != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_));
}

void Graph::Launch(Stream& stream) const {
  if (!stream.status().ok()) return;
  const cudaError_t error =
      cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), Handle(stream));
  if (error != cudaSuccess) stream.Fail(CudaStatus(error, "launch of a graph"));
}

absl::StatusOr<std::unique_ptr<Timer>> Timer::Create() {
  std::unique_ptr<Timer> timer(new Timer);
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  FM_CUDA_RETURN(cudaEventCreate(&begin), "making a timer");
  timer->begin_ = begin;
  FM_CUDA_RETURN(cudaEventCreate(&end), "making a timer");
  timer->end_ = end;
  return timer;
}

Timer::~Timer() {
  if (begin_ != nullptr) cudaEventDestroy(static_cast<cudaEvent_t>(begin_));
  if (end_ != nullptr) cudaEventDestroy(static_cast<cudaEvent_t>(end_));
}

void Timer::Start(Stream& stream) {
  if (!stream.status().ok()) return;
  const cudaError_t error = cudaEventRecord(static_cast<cudaEvent_t>(begin_), Handle(stream));
  if (error != cudaSuccess) stream.Fail(CudaStatus(error, "starting a timer"));
}

void Timer::Stop(Stream& stream) {
  if (!stream.status().ok()) return;
  const cudaError_t error = cudaEventRecord(static_cast<cudaEvent_t>(end_), Handle(stream));
  if (error != cudaSuccess) stream.Fail(CudaStatus(error, "stopping a timer"));
}

absl::StatusOr<double> Timer::Seconds() {
  FM_CUDA_RETURN(cudaEventSynchronize(static_cast<cudaEvent_t>(end_)), "waiting for a timer");
  float milliseconds = 0;
  FM_CUDA_RETURN(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin_),
                                      static_cast<cudaEvent_t>(end_)),
                 "reading a timer");
  return static_cast<double>(milliseconds) / 1e3;
}

}  // namespace folkmoot::cuda
