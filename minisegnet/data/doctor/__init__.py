"""``minisegnet data check``: everything in a data set that training would stumble over, with the file and the remedy.

============  ======================================================================
`examine`     `check` reads every file of a data set, counts, and collects problems
`checkup`     `Checkup`, its result: counts, problems, and a table of both
`report`      `Report`, the problems of a folder by kind, with the advice for each kind
============  ======================================================================

Opening a `Folder` or a published data set uses the same `Report`, filled with the help of ``data/listing.py``
(the names of files). ``ms.doctor()`` is something else: it checks this machine, not a data set.
"""
