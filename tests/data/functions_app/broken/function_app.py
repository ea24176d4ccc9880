import a_module_that_is_not_there  # noqa: F401 - what makes this app fail to load
import azure.functions as func

app = func.FunctionApp()
