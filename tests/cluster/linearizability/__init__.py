# SPDX-License-Identifier: Apache-2.0
"""Is what clients saw explained by operations that took effect one after another, each at one
moment between its call and its return?

  history.py    what clients did and saw, in memory and in files
  model.py      what one key does, one operation after another
  search.py     Wing & Gong's search with Lowe's memory, for one key
  minimize.py   the smallest part of a failing history that still fails
  revisions.py  a second opinion over all keys at once, from the revisions in the answers
  check.py      all of it for a whole history
  generate.py   histories of a store that is right, or wrong in a way of our choosing
"""
