"""Run SSR, or any general model of RecBole: python run_recbole_ssr.py --dataset=ml-100k"""

import sys

from recbole_ssr.cli import main

if __name__ == "__main__":
    sys.exit(main())
