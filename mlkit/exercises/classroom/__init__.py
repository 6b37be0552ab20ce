"""The teacher's side of the exercises: hand them out, grade what comes back, read the result.

    students.py     the students' notebooks, made from the sources by nbgrader
    submissions.py  whose notebook is it, and of which lesson
    grading.py      grade a folder of submissions, each in a process of its own (watch.py)
    autograde.py    that process: nbgrader's autograder on one notebook
    confined.py     the kernel it starts: few rights (landlock.py), and the judge
    gradebook.py    the table, kept as CSV
    report.py       the page about it

All but the last two need nbgrader (requirements-classroom.txt).
"""
