// SPDX-License-Identifier: Apache-2.0
#include "launch/api/page/page.h"

#include "launch/api/page/page_html.h"

namespace folkmoot {

Route PageRoute() {
  return {.method = "GET",
          .path = "/",
          .open = true,
          .handler = [](const std::shared_ptr<HttpExchange>& exchange) {
            exchange->Respond({.body = std::string(kPageHtml),
                               .content_type = "text/html; charset=utf-8",
                               .headers = {{"Content-Security-Policy", std::string(kPagePolicy)},
                                           {"Cache-Control", "no-cache"},
                                           {"Referrer-Policy", "no-referrer"},
                                           {"X-Content-Type-Options", "nosniff"}}});
          }};
}

}  // namespace folkmoot
