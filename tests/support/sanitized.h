// SPDX-License-Identifier: Apache-2.0
// Whether AddressSanitizer or ThreadSanitizer watches this test. Long random workloads ask for less
// then, and what counts the bytes of the process does not count.
#pragma once

namespace folkmoot {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)  // g++
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)  // clang++
inline constexpr bool kSanitized =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace folkmoot
