// SPDX-License-Identifier: Apache-2.0
// Asio's coroutines. Include this, not its parts: awaitable.hpp of Boost 1.74 uses std::exchange
// without including <utility>.
#pragma once

#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
