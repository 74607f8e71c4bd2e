from setuptools import find_packages, setup

# signatures/ sits beside doctor/ in the repository and inside it once installed.
setup(packages=[*find_packages(include=["doctor", "doctor.*"]), "doctor.signatures"])
