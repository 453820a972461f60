# Fails when PROGRAM lacks what makes a break-in hard (cmake/FolkmootOptions.cmake).
#
#   cmake -DPROGRAM=<file> -DREADELF=<program> -P cmake/CheckHardening.cmake
execute_process(COMMAND ${READELF} -hldW --dyn-syms ${PROGRAM} OUTPUT_VARIABLE told RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${READELF} ${PROGRAM}: status ${status}")
endif()
function(demand pattern what)
  if(NOT told MATCHES "${pattern}")
    message(FATAL_ERROR "${PROGRAM}: ${what}")
  endif()
endfunction()
demand("Type:[ ]+DYN" "not position-independent")
demand("GNU_RELRO" "no read-only relocations")
demand("BIND_NOW|Flags: [A-Z ]*NOW" "symbols are bound late: the table of addresses stays writable")
demand("GNU_STACK[ ]+0x[0-9a-f]+ 0x[0-9a-f]+ 0x[0-9a-f]+ 0x[0-9a-f]+ 0x[0-9a-f]+ RW " "the stack can be executed")
demand("__stack_chk_fail" "no stack protector")
demand("_chk@" "no checked functions of the C library")
