import common from "./common.json";
import deadLetters from "./deadLetters.json";
import jobs from "./jobs.json";
import models from "./models.json";
import overview from "./overview.json";
import playground from "./playground.json";

const resources = { common, overview, playground, jobs, deadLetters, models };
export default resources;
