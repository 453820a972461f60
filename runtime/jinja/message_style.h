// SPDX-License-Identifier: Apache-2.0
// What a template wants of a message with tool calls so that it shows them. Most read arguments as
// an object, and any content; DeepSeek's, up to V3.1, add the arguments to a string, and those up
// to V3 show calls only where the content is none.
#pragma once

namespace folkmoot {

class ChatTemplate;

struct MessageStyle {
  bool arguments_as_text = false;
  bool null_content = false;  // where a message with calls has no text
};

// Found by showing the template a conversation with a call. The usual style where none works.
MessageStyle StyleOf(const ChatTemplate& chat_template);

}  // namespace folkmoot
