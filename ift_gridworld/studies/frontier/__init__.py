"""The frontier study: every method on the same lakes, bases and data, judged by one exact question at a time.

conditions.py   where methods are compared: dynamics, base, data, wrong labels, start
trials.py       what each method may try, the same number of trials for all, and how the best is chosen
running.py      train and measure a method under a condition
questions.py    the questions, and each method's answer with its interval
figures.py      the answers and the reward-KL plane, drawn
page.py         the numbers and rankings of the study's page
study.py        all parts of it, run so that an interrupted study goes on where it was
"""
