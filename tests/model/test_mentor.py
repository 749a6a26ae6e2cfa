from baseline_contract import BaselineContract
class TestMENTOR(BaselineContract):
    model = "MENTOR"
