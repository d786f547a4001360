#include "store/store.h"

#define STR_(x) #x
#define STR(x)  STR_(x)

/* BC_VERSION comes from the build. */
const char *bc_version(void) { return BC_VERSION; }

const char *bc_version_details(void)
{
  return "libbiocube " BC_VERSION
         ", store format " STR(BC_FORMAT_MAJOR) "." STR(BC_FORMAT_MINOR) "\n"
                                                                         "compiler " __VERSION__
                                                                         "\n" BC_LIBRARIES;
}
