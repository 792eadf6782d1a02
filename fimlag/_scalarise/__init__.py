"""Functions of small arrays rewritten as scalar code when they are traced.

A compiler makes of scalars in a loop what a C compiler makes of them; of small arrays it does not.
"""

from fimlag._scalarise._scalarise import scalarised as scalarised
from fimlag._scalarise._structure import Entry as Entry, entries_of as entries_of
