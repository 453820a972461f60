// SPDX-License-Identifier: Apache-2.0
// What EmbedPage.cmake makes of index.html.
#pragma once

#include <string_view>

namespace folkmoot {

extern const std::string_view kPageHtml;
extern const std::string_view kPagePolicy;  // Content-Security-Policy

}  // namespace folkmoot
