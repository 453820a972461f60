// SPDX-License-Identifier: Apache-2.0
// One source for both sides: functions marked FOLKMOOT_HOST_DEVICE are compiled for the CPU by
// every compiler and for the GPU as well by nvcc.
#pragma once

#ifdef __CUDACC__
#define FOLKMOOT_HOST_DEVICE __host__ __device__
#else
#define FOLKMOOT_HOST_DEVICE
#endif
