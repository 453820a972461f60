// SPDX-License-Identifier: Apache-2.0
// The page at "/": a chat and the load of the experts, one HTML file inside the binary.
#pragma once

#include "launch/http/http.h"

namespace folkmoot {

// GET /. Needs no API key: the page asks for it when the server wants one.
Route PageRoute();

}  // namespace folkmoot
